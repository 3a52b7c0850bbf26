package redisstore

import (
	"errors"
	"io"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/threefoldtech/cloud-marketplace/persistence"
)

// said is an error as a server says it.
type said string

func (s said) Error() string { return string(s) }
func (said) RedisError()     {}

// TestOutcome holds each answer to what it means for a commit. What leaves it
// open must never count as refused: the commit may be there.
func TestOutcome(t *testing.T) {
	c := &persistence.Commit{Entity: persistence.Entity{Kind: "user", ID: "ann"}, Expect: 7}
	for text, want := range map[string]error{
		"OK":                     nil,
		"AT 8":                   persistence.ErrStale,
		"AT 6":                   persistence.ErrLost,
		"AT x":                   persistence.ErrCorrupt,
		"HALTED it went back":    persistence.ErrLost,
		"REFUSED OOM command":    persistence.ErrOverloaded,
		"REFUSED -MISCONF Redis": persistence.ErrOverloaded,
		"REFUSED ERR The ID specified in XADD is equal or smaller": persistence.ErrCorrupt,
	} {
		cmd := redis.NewCmd(t.Context())
		cmd.SetVal(text)
		if err := outcome(c, cmd); !errors.Is(err, want) || (want == nil) != (err == nil) {
			t.Errorf("%q means %v, want %v", text, err, want)
		}
	}
	for err, want := range map[error]error{
		io.EOF: persistence.ErrUnknown,
		said("LOADING Redis is loading the dataset in memory"):                    persistence.ErrUnknown,
		said("EXECABORT Transaction discarded because of previous errors."):       persistence.ErrUnknown,
		said("NOSCRIPT No matching script. Please use EVAL."):                     persistence.ErrUnknown,
		said("BUSY Redis is busy running a script."):                              persistence.ErrUnknown,
		said("READONLY You can't write against a read only replica."):             persistence.ErrOverloaded,
		said("NOPERM this user has no permissions to run the 'evalsha' command"):  persistence.ErrOverloaded,
		said("WRONGTYPE Operation against a key holding the wrong kind of value"): persistence.ErrCorrupt,
		said("ERR wrong number of arguments script: 88c5, on @user_script:5."):    persistence.ErrCorrupt,
		said("OOM command not allowed when used memory > 'maxmemory'."):           persistence.ErrOverloaded,
		said("NOPERM ACL failure in script: user_script:44"):                      persistence.ErrCorrupt,
		said("NOSTORE everything that was stored is gone"):                        persistence.ErrOverloaded,
	} {
		cmd := redis.NewCmd(t.Context())
		cmd.SetErr(err)
		if got := outcome(c, cmd); !errors.Is(got, want) {
			t.Errorf("%v means %v, want %v", err, got, want)
		}
	}
}
