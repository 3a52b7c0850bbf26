package persistence

import (
	"errors"
	"fmt"
	"strings"
)

// ErrInvalid says that the caller asks for something that no store takes: a
// name it cannot keep, a commit that is not well formed, a cursor nobody gave
// out. It is a mistake of the program; nothing was stored.
var ErrInvalid = errors.New("no store takes this")

// MaxName is the longest name in bytes: of a kind, an id, a list, a topic, a
// consumer group or a commit.
const MaxName = 1024

// Validate returns ErrInvalid for an entity that cannot be stored.
func (e Entity) Validate() error {
	if err := ValidateName(e.Kind); err != nil {
		return fmt.Errorf("kind of the entity: %w", err)
	}
	if err := ValidateName(e.ID); err != nil {
		return fmt.Errorf("id of the entity: %w", err)
	}
	return nil
}

// Validate returns ErrInvalid for a commit that cannot be stored. List items
// and messages are numbered by the version their commit makes, so a commit
// without events can have neither.
func (c *Commit) Validate() error {
	if err := c.Entity.Validate(); err != nil {
		return err
	}
	if err := ValidateName(c.ID); err != nil {
		return fmt.Errorf("commit id: %w", err)
	}
	if c.Events == nil && (len(c.Lists) > 0 || len(c.Out) > 0) {
		return fmt.Errorf("list items or messages without an event: %w", ErrInvalid)
	}
	for i := range c.Lists {
		if err := ValidateName(c.Lists[i].List); err != nil {
			return fmt.Errorf("list %d: %w", i, err)
		}
	}
	return ValidateMessages(c.Out)
}

// ValidateMessages returns ErrInvalid for messages that cannot be stored.
func ValidateMessages(ms []Message) error {
	for i := range ms {
		if err := ValidateName(ms[i].Topic); err != nil {
			return fmt.Errorf("topic of message %d: %w", i, err)
		}
	}
	return nil
}

// ValidateName returns ErrInvalid for a name that is empty, too long or holds a
// zero byte. Stores build their keys of names and rely on it.
func ValidateName(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("the name is empty: %w", ErrInvalid)
	case len(name) > MaxName:
		return fmt.Errorf("the name is longer than %d bytes: %w", MaxName, ErrInvalid)
	case strings.IndexByte(name, 0) >= 0:
		return fmt.Errorf("the name %q holds a zero byte: %w", name, ErrInvalid)
	}
	return nil
}
