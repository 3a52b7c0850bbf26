package main

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/threefoldtech/cloud-marketplace/internal/clock"
	"github.com/threefoldtech/cloud-marketplace/internal/rig"
)

// attack is one line of the table.
type attack struct {
	name  string
	want  string // what is documented; "or" stands between what is as good
	known string // why it is known not to hold; empty: it must
	waits bool   // for a limit of time: it goes on beside the others
	long  bool   // takes most of a minute
	do    func(ctx context.Context, f *field) (heard string)
}

// outcome is what became of an attack.
type outcome struct {
	attack
	heard string
	took  time.Duration
}

// held says whether the server answered as is documented.
func (o outcome) held() bool { return slices.Contains(strings.Split(o.want, " or "), o.heard) }

// wrong says whether the line is other than is known.
func (o outcome) wrong() bool { return o.held() != (o.known == "") }

func (o outcome) String() string {
	verdict := "yes"
	switch {
	case !o.held() && o.known != "":
		verdict = "no: " + o.known
	case !o.held():
		verdict = "**no**"
	case o.known != "":
		verdict = "**yes, though it was known not to: " + o.known + "**"
	}
	return fmt.Sprintf("| %s | %s | %s | %v | %s |", o.name, o.want, o.heard, o.took.Round(time.Millisecond), verdict)
}

// attacks are all lines of the table.
func attacks() []attack {
	return slices.Concat(forgeries(), handshakes(), broken(), slow(), floods(), guesses(), requests(), browsers(), rules())
}

// attackWithin bounds an attack.
const attackWithin = 90 * time.Second

// play does everything to the server, and looks at what is left of it.
func (f *field) play(ctx context.Context, choose *regexp.Regexp) error {
	c, err := f.startControls(ctx)
	if err != nil {
		return err
	}
	defer c.stop()
	if err := f.warm(ctx); err != nil {
		return err
	}
	start, err := f.server.Census(ctx)
	if err != nil {
		return err
	}
	wrong := f.table(ctx, choose)
	end, err := f.server.Settled(ctx, start, settleWithin)
	if err != nil {
		return err
	}
	for _, o := range append(c.outcomes(), outcome{attack: attack{name: "secrets in the log", want: "none"}, heard: f.secrets()}, balance(start, end)) {
		_, _ = fmt.Fprintln(f.options.out, o)
		wrong = wrong || o.wrong()
	}
	_, _ = fmt.Fprintf(f.options.out, "\nBefore: %s. After: %s.\n", start, end)
	if wrong {
		return errFound
	}
	return nil
}

// settleWithin is how long the server may take to be as it was.
const settleWithin = 20 * time.Second

// balance compares what the server holds with what it held.
func balance(start, end rig.Census) outcome {
	o := outcome{attack: attack{name: "what the server holds afterwards", want: "as before"}, heard: "as before"}
	if !end.Within(start) {
		o.heard = end.String()
	}
	return o
}

// table does all that were chosen: those that wait at once, the others one after
// the other beside them.
func (f *field) table(ctx context.Context, choose *regexp.Regexp) (wrong bool) {
	var waiting, working []attack
	for _, a := range attacks() {
		switch {
		case !choose.MatchString(a.name) || a.long && !f.options.long:
		case a.waits:
			waiting = append(waiting, a)
		default:
			working = append(working, a)
		}
	}
	_, _ = fmt.Fprintln(f.options.out, "| what is done | what should come | what came | in | held |\n|---|---|---|---:|---|")
	waited := make([]outcome, len(waiting))
	var all sync.WaitGroup
	for i, a := range waiting {
		all.Go(func() { waited[i] = f.suffer(ctx, a) })
	}
	tell := func(o outcome) {
		_, _ = fmt.Fprintln(f.options.out, o)
		wrong = wrong || o.wrong()
	}
	for _, a := range working {
		tell(f.suffer(ctx, a))
	}
	all.Wait()
	for _, o := range waited {
		tell(o)
	}
	return wrong
}

// suffer does one attack.
func (f *field) suffer(ctx context.Context, a attack) outcome {
	ctx, cancel := context.WithTimeout(ctx, attackWithin)
	defer cancel()
	began := now()
	heard := a.do(ctx, f)
	return outcome{attack: a, heard: heard, took: now().Sub(began)}
}

func now() time.Time { return clock.Real{}.Now() }
