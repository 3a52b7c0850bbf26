package deployment

import (
	"testing"
	"time"

	"github.com/threefoldtech/cloud-marketplace/actors/price"
	"github.com/threefoldtech/cloud-marketplace/actors/story"
)

// terms are the defaults, said aloud.
var terms = Terms{StepLimit: 10 * time.Minute, CreditGrace: 72 * time.Hour, Prices: price.Main}

// TestStories plays the stories below testdata. "go test -rewrite" writes down
// what happens now.
func TestStories(t *testing.T) { story.Run[*state, *event](t, "deployment", deployment{terms}) }

func TestApplyKnowsEveryEvent(t *testing.T) {
	story.ApplyKnowsEveryEvent[*state, *event](t, deployment{terms})
}
