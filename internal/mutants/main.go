// Command mutants takes the rules of the durable actor away, one at a time, and
// runs the tests: a rule whose absence nobody notices is not tested. Run it from
// the top of the repository. Nothing is changed there: the compiler is given the
// changed file in place of the real one.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
)

// mutant is a rule and the change that takes it away.
type mutant struct {
	rule string
	file string
	was  string // occurs once in the file
	is   string
}

// suites are run until one fails.
var suites = [][]string{
	{"./actors/entity", "./actors/engine", "-timeout=3m"},
	{"./persistence/memstore", "./persistence/boltstore", "-timeout=3m"},
	{"./actors", "-run=TestSimulation", "-seeds=500", "-timeout=3m"},
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	only := flag.String("only", "", "a regular expression of the rules to take away")
	flag.Parse()
	if err := run(ctx, *only); err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, only string) error {
	choose, err := regexp.Compile(only)
	if err != nil {
		return err
	}
	folder, err := os.MkdirTemp("", "mutants-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(folder) }()
	out := os.Stdout
	_, _ = fmt.Fprintln(out, "| rule | noticed by |\n|---|---|")
	var survived []string
	for _, m := range mutants {
		if !choose.MatchString(m.rule) {
			continue
		}
		overlay, err := m.write(folder)
		if err != nil {
			return fmt.Errorf("%s: %w", m.rule, err)
		}
		noticed, err := notice(ctx, overlay)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			fmt.Fprintf(os.Stderr, "%s: %v\n", m.rule, err)
			fallthrough
		case noticed == "":
			noticed = "**nobody**"
			survived = append(survived, m.rule)
		}
		_, _ = fmt.Fprintf(out, "| %s | %s |\n", m.rule, noticed)
	}
	if len(survived) > 0 {
		return fmt.Errorf("nobody notices that these are gone: %s", strings.Join(survived, "; "))
	}
	return nil
}

// write makes the changed file, and what tells the compiler of it.
func (m mutant) write(folder string) (string, error) {
	text, err := os.ReadFile(m.file)
	if err != nil {
		return "", err
	}
	if n := strings.Count(string(text), m.was); n != 1 {
		return "", fmt.Errorf("what is to change occurs %d times in %s", n, m.file)
	}
	original, err := filepath.Abs(m.file)
	if err != nil {
		return "", err
	}
	changed, overlay := filepath.Join(folder, "changed.go"), filepath.Join(folder, "overlay.json")
	if err := os.WriteFile(changed, []byte(strings.Replace(string(text), m.was, m.is, 1)), 0o600); err != nil { //nolint:gosec // a folder of our own
		return "", err
	}
	return overlay, os.WriteFile(overlay, fmt.Appendf(nil, `{"Replace": {%q: %q}}`, original, changed), 0o600)
}

var failure = regexp.MustCompile(`(?m)^\s*--- FAIL: (\S+)|panic: (test timed out)`)

// notice runs the suites and returns the first test that fails; "" when none does.
func notice(ctx context.Context, overlay string) (string, error) {
	if out, err := exec.CommandContext(ctx, "go", "build", "-overlay", overlay, "./...").CombinedOutput(); err != nil { //nolint:gosec // our own arguments
		return "", fmt.Errorf("it does not compile: %s", out)
	}
	for _, suite := range suites {
		args := append([]string{"test", "-overlay", overlay, "-failfast", "-count=1"}, suite...)
		out, err := exec.CommandContext(ctx, "go", args...).CombinedOutput() //nolint:gosec // our own arguments
		if _, failed := errors.AsType[*exec.ExitError](err); !failed {
			if err != nil {
				return "", err
			}
			continue
		}
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		found := failure.FindSubmatch(out)
		if found == nil {
			return "", fmt.Errorf("the tests ended oddly: %s", out)
		}
		return string(found[1]) + string(found[2]), nil
	}
	return "", nil
}
