package persistence

import (
	"fmt"
	"strconv"
	"strings"
)

// FormatCursor spells the place of a list item as the cursor of the page that
// ends with it. Cursors are the same on all stores.
func FormatCursor(version uint64, index uint32) string {
	return strconv.FormatUint(version, 10) + "-" + strconv.FormatUint(uint64(index), 10)
}

// ParseCursor reads what FormatCursor wrote. Anything else is ErrInvalid.
func ParseCursor(cursor string) (version uint64, index uint32, err error) {
	head, rest, _ := strings.Cut(cursor, "-")
	version, err = strconv.ParseUint(head, 10, 64)
	if err == nil {
		var n uint64
		n, err = strconv.ParseUint(rest, 10, 32)
		index = uint32(n)
	}
	if err != nil {
		return 0, 0, fmt.Errorf("cursor %q: %w", cursor, ErrInvalid)
	}
	return version, index, nil
}

// FormatPosition returns the position of the nth message of a topic, counted
// from 1; of 0, the position before the first.
func FormatPosition(n uint64) Position {
	if n == 0 {
		return ""
	}
	return Position(strconv.FormatUint(n, 10))
}

// Number returns how many messages of its topic are at or before the position,
// also those that were trimmed. What FormatPosition did not write is ErrInvalid.
func (p Position) Number() (uint64, error) {
	if p == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(string(p), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("position %q: %w", string(p), ErrInvalid)
	}
	return n, nil
}
