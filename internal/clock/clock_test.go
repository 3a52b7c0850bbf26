package clock

import (
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

func open(t *testing.T, file string, scale int64, machine Clock) *Scaled {
	t.Helper()
	s, err := OpenScaled(file, scale, machine)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestScaled holds the domain clock to its pace, over restarts and changes of it.
func TestScaled(t *testing.T) {
	machine, file := NewManual(noon), filepath.Join(t.TempDir(), "clock.json")
	s := open(t, file, 3600, machine)
	machine.Advance(2 * time.Second)
	if got := s.Now(); !got.Equal(noon.Add(2 * time.Hour)) {
		t.Errorf("after two seconds it is %v", got)
	}
	if got := s.In(time.Second); !got.Equal(noon.Add(3 * time.Hour)) {
		t.Errorf("in a second it will be %v", got)
	}
	s = open(t, file, 3600, machine)
	machine.Advance(1500 * time.Millisecond)
	if got := s.Now(); !got.Equal(noon.Add(3*time.Hour + 30*time.Minute)) {
		t.Errorf("after a restart it is %v", got)
	}
	s = open(t, file, 1, machine)
	machine.Advance(time.Minute)
	if got := s.Now(); !got.Equal(noon.Add(3*time.Hour + 31*time.Minute)) {
		t.Errorf("at another pace it is %v", got)
	}
}

// TestScaledLong holds it to its pace when nanoseconds would overflow.
func TestScaledLong(t *testing.T) {
	machine := NewManual(noon)
	s := open(t, filepath.Join(t.TempDir(), "clock.json"), 86_400, machine)
	for range 1000 {
		before := s.Now()
		machine.Advance(time.Hour)
		if got := s.Now().Sub(before); got != 86_400*time.Hour {
			t.Fatalf("an hour was %v", got)
		}
	}
}

// TestScaledRefuses holds a useless scale or file to a sentence.
func TestScaledRefuses(t *testing.T) {
	if _, err := OpenScaled(filepath.Join(t.TempDir(), "clock.json"), 0, NewManual(noon)); err == nil || !strings.Contains(err.Error(), "at least 1") {
		t.Errorf("scale 0: %v", err)
	}
}
