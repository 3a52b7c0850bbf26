package gateway

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// child is a server that is measured: a process of its own, which is told what
// to do on its standard input and says what it did on its output.
type child struct {
	process *exec.Cmd
	in      io.WriteCloser
	said    chan string // lines that begin with saying
	exited  chan error
	address string
	admin   string // where pprof is; only of ours
}

// saying begins the lines of a child that are meant for the bench.
const saying = "bench: "

// start starts a process and hears what it says.
func start(ctx context.Context, cmd *exec.Cmd) (*child, error) {
	c := &child{process: cmd, said: make(chan string, 16), exited: make(chan error, 1)}
	cmd.Env = append(cmd.Environ(), "BENCH_HOOK=1")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c.in = in
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if text, ours := strings.CutPrefix(lines.Text(), saying); ours {
				c.said <- text
			}
		}
		c.exited <- cmd.Wait()
	}()
	return c, ctx.Err()
}

// startPeer starts this program again as a server of its own.
func startPeer(ctx context.Context, env Environment, kind string) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c, err := start(ctx, exec.CommandContext(ctx, self, peerVerb, kind, env.JWKS, env.Dir, strconv.Itoa(env.Sessions)))
	if err != nil {
		return nil, err
	}
	return c, c.hear(&c.address)
}

// startOurs starts the marketplace, with limits that a single client of the
// bench does not meet; exact has it note nearly every allocation, which is slow.
func startOurs(ctx context.Context, env Environment, exact bool) (*child, error) {
	data, err := os.MkdirTemp(env.Dir, "data-")
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, env.Binary)
	cmd.Env = append(os.Environ(), "MARKETPLACE_DATA="+data, "MARKETPLACE_LOG_LEVEL=error", "MARKETPLACE_AUTH_ISSUER="+env.Issuer,
		"MARKETPLACE_LISTEN_API=127.0.0.1:0", "MARKETPLACE_LISTEN_ADMIN=127.0.0.1:0",
		"MARKETPLACE_SANDBOX_ISSUER=127.0.0.1:0", "MARKETPLACE_SANDBOX_GRIDPROXY=127.0.0.1:0",
		"MARKETPLACE_GATEWAY_RATE=100000", "MARKETPLACE_GATEWAY_BURST=1000000", "MARKETPLACE_GATEWAY_IN_FLIGHT=10000",
		"MARKETPLACE_GATEWAY_OPEN_WITHIN=1m", "MARKETPLACE_GATEWAY_DRAIN=0s",
		"MARKETPLACE_GATEWAY_PER_ADDRESS=1000000", "MARKETPLACE_GATEWAY_HANDSHAKE_RATE=1000000", "MARKETPLACE_GATEWAY_HANDSHAKE_BURST=1000000")
	if exact {
		cmd.Env = append(cmd.Env, "GODEBUG=memprofilerate=1024")
	}
	c, err := start(ctx, cmd)
	if err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		text, err := os.ReadFile(filepath.Join(data, "listening.json"))
		if err != nil {
			continue
		}
		var at struct{ API, Admin string }
		if json.Unmarshal(text, &at) == nil {
			c.address, c.admin = at.API, at.Admin
			return c, c.awaitKeys(ctx)
		}
	}
	return nil, errors.Join(errors.New("the server did not start"), c.stop())
}

// hear waits for what a child says and decodes it.
func (c *child) hear(to any) error {
	select {
	case text := <-c.said:
		return json.Unmarshal([]byte(text), to)
	case err := <-c.exited:
		c.exited <- err
		return fmt.Errorf("the server ended: %w", err)
	case <-time.After(2 * time.Minute):
		return errors.New("the server said nothing for two minutes")
	}
}

// tell hands a peer an order.
func (c *child) tell(order string, args any) error {
	text, err := json.Marshal(args)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.in, "%s %s\n", order, text)
	return err
}

// held is what a server holds once its garbage is given back: objects, the
// spans they lie in, stacks, and what the Go runtime keeps for itself.
type held struct{ Heap, Spans, Stack, Runtime, Goroutines int64 }

// settle has the server give its garbage back.
func (c *child) settle() (h held, err error) {
	if err := c.process.Process.Signal(syscall.SIGUSR1); err != nil {
		return h, err
	}
	return h, c.hear(&h)
}

// cpu is how much processor time the process has used.
func (c *child) cpu() (time.Duration, error) {
	text, err := c.proc("stat")
	if err != nil {
		return 0, err
	}
	// After the name in parentheses: user time is field 14, system time 15, in hundredths of a second.
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+2:])
	user, err := strconv.ParseInt(fields[11], 10, 64)
	if err != nil {
		return 0, err
	}
	system, err := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * 10 * time.Millisecond, err
}

// resident is how much memory of the machine the process has, in bytes.
func (c *child) resident() (float64, error) {
	text, err := c.proc("status")
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(text, "VmRSS:")
	kb, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
	return float64(kb) * 1024, err
}

// quiet waits until the process has nothing to do, or has had half a minute.
func (c *child) quiet() error {
	const pulse = 400 * time.Millisecond
	before, err := c.cpu()
	for range 30 * time.Second / pulse {
		if err != nil {
			break
		}
		time.Sleep(pulse)
		var now time.Duration
		if now, err = c.cpu(); now-before <= pulse/20 {
			break
		}
		before = now
	}
	return err
}

func (c *child) proc(file string) (string, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", c.process.Process.Pid, file))
	return string(text), err
}

// stop ends the process. It is not asked: thousands of goodbyes take longer
// than a measurement.
func (c *child) stop() error {
	_ = c.process.Process.Kill()
	err := <-c.exited
	if killed := (*exec.ExitError)(nil); errors.As(err, &killed) {
		return nil
	}
	return err
}
