package entity

import (
	"testing"

	"github.com/threefoldtech/cloud-marketplace/persistence"
)

// TestWholeCommits does not part the items of one commit, nor takes one for whole
// that may go on.
func TestWholeCommits(t *testing.T) {
	big := make([]byte, catchUpBytes)
	item := func(version uint64, data []byte) persistence.ListItem {
		return persistence.ListItem{Version: version, Data: data}
	}
	for name, c := range map[string]struct {
		items  []persistence.ListItem
		cutOff bool
		want   int
	}{
		"none":                    {nil, false, 0},
		"all":                     {[]persistence.ListItem{item(1, nil), item(1, nil), item(2, nil)}, false, 3},
		"the last is cut off":     {[]persistence.ListItem{item(1, nil), item(2, nil), item(2, nil)}, true, 1},
		"the only one is cut off": {[]persistence.ListItem{item(1, nil), item(1, nil)}, true, 0},
		"enough after the first":  {[]persistence.ListItem{item(1, big), item(2, nil)}, false, 1},
		"a large one is whole":    {[]persistence.ListItem{item(1, big), item(1, big), item(2, nil)}, false, 2},
	} {
		if got, _ := wholeCommits(c.items, c.cutOff); got != c.want {
			t.Errorf("%s: %d items, not %d", name, got, c.want)
		}
	}
}
