package configs

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Bytes is an amount of memory. It is written as a whole number of bytes, or
// as one of KiB, MiB or GiB with the unit behind it.
type Bytes int

// The units of Bytes.
const (
	KiB Bytes = 1 << 10
	MiB Bytes = 1 << 20
	GiB Bytes = 1 << 30
)

var units = []struct {
	name string
	size Bytes
}{{"GiB", GiB}, {"MiB", MiB}, {"KiB", KiB}}

// String returns b in the largest unit that it is a multiple of.
func (b Bytes) String() string {
	for _, u := range units {
		if b != 0 && b%u.size == 0 {
			return strconv.Itoa(int(b/u.size)) + u.name
		}
	}
	return strconv.Itoa(int(b))
}

// parseBytes reads what String writes. Any other text is an error.
func parseBytes(text string) (Bytes, error) {
	size, digits := Bytes(1), text
	for _, u := range units {
		if d, ok := strings.CutSuffix(text, u.name); ok {
			size, digits = u.size, strings.TrimSpace(d)
		}
	}
	n, err := strconv.Atoi(digits)
	if err != nil || n > math.MaxInt/int(size) || n < math.MinInt/int(size) {
		return 0, fmt.Errorf("%q is not a number of bytes, such as 65536 or 64KiB", text)
	}
	return Bytes(n) * size, nil
}
