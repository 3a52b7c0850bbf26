package operation

import (
	"testing"

	"github.com/threefoldtech/cloud-marketplace/actors/story"
)

// TestStories plays the stories below testdata. "go test -rewrite" writes down
// what happens now.
func TestStories(t *testing.T) { story.Run[*state, *event](t, "operation", operation{}) }

func TestApplyKnowsEveryEvent(t *testing.T) {
	story.ApplyKnowsEveryEvent[*state, *event](t, operation{})
}
