package gateway

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// position is a place in the history of an entity, as clients see it: opaque.
type position struct {
	epoch   string
	version uint64
}

// String returns how the position is spelled on the wire.
func (p position) String() string { return p.epoch + "." + strconv.FormatUint(p.version, 10) }

// parsePosition reads what String wrote.
func parsePosition(s string) (position, bool) {
	epoch, version, found := strings.Cut(s, ".")
	n, err := strconv.ParseUint(version, 10, 64)
	return position{epoch, n}, found && err == nil && epoch != "" && utf8.ValidString(epoch)
}
