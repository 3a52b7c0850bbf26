// Command mutants takes the rules of the durable actor away, one at a time, and
// runs the tests: a rule whose absence nobody notices is not tested. Run it from
// the top of the repository. Nothing is changed there: it works on a copy.
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
	{"./actors", "-run=TestSimulation|TestSealed|TestForgotten", "-seeds=500", "-timeout=3m"},
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
	if err := copyTo(folder); err != nil {
		return err
	}
	out := os.Stdout
	_, _ = fmt.Fprintln(out, "| rule | noticed by |\n|---|---|")
	var survived []string
	for _, m := range mutants {
		if !choose.MatchString(m.rule) {
			continue
		}
		undo, err := m.apply(folder)
		if err != nil {
			return fmt.Errorf("%s: %w", m.rule, err)
		}
		noticed, err := notice(ctx, folder)
		if err := undo(); err != nil {
			return err
		}
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

// copied is what the tests need of the repository.
var copied = []string{"actors", "internal", "messages", "persistence"}

// copyTo copies what the tests need.
func copyTo(folder string) error {
	for _, part := range copied {
		if err := os.CopyFS(filepath.Join(folder, part), os.DirFS(part)); err != nil {
			return err
		}
	}
	for _, file := range []string{"go.mod", "go.sum"} {
		text, err := os.ReadFile(filepath.Clean(file))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(folder, file), text, 0o600); err != nil { //nolint:gosec // a folder of our own
			return err
		}
	}
	return nil
}

// apply takes the rule away in the copy; undo brings it back.
func (m mutant) apply(folder string) (undo func() error, err error) {
	text, err := os.ReadFile(filepath.Clean(m.file))
	if err != nil {
		return nil, err
	}
	if n := strings.Count(string(text), m.was); n != 1 {
		return nil, fmt.Errorf("what is to change occurs %d times in %s", n, m.file)
	}
	file := filepath.Join(folder, m.file)
	undo = func() error { return os.WriteFile(file, text, 0o600) }                                //nolint:gosec // a folder of our own
	return undo, os.WriteFile(file, []byte(strings.Replace(string(text), m.was, m.is, 1)), 0o600) //nolint:gosec // a folder of our own
}

var failure = regexp.MustCompile(`(?m)^\s*--- FAIL: (\S+)|panic: (test timed out)`)

// notice runs the suites and returns the first test that fails; "" when none does.
func notice(ctx context.Context, folder string) (string, error) {
	if out, err := command(ctx, folder, "build", "./actors/...", "./persistence/..."); err != nil {
		return "", fmt.Errorf("it does not compile: %s", out)
	}
	for _, suite := range suites {
		out, err := command(ctx, folder, append([]string{"test", "-failfast", "-count=1"}, suite...)...)
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

// command runs the go command in a folder.
func command(ctx context.Context, folder string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "go", args...) //nolint:gosec // our own arguments
	cmd.Dir = folder
	return cmd.CombinedOutput()
}
