package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"sync/atomic"
	"time"

	"github.com/threefoldtech/cloud-marketplace/internal/rig"
)

// field is a server and all who come to it.
type field struct {
	server   *rig.Server
	mint     *rig.Mint
	options  options
	visitors atomic.Int64
	trap     net.Listener // an address that forged tokens name: nobody may go there
	trapped  atomic.Int64
}

func newField(ctx context.Context, s *rig.Server, o options) (*field, error) {
	mint, err := rig.NewMint(ctx, s)
	if err != nil {
		return nil, err
	}
	trap, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	f := &field{server: s, mint: mint, options: o, trap: trap}
	go func() {
		for {
			c, err := trap.Accept()
			if err != nil {
				return
			}
			f.trapped.Add(1)
			_ = c.Close()
		}
	}()
	return f, nil
}

func (f *field) close() { _ = f.trap.Close() }

// visitor comes from an address of their own, so that what one does does not
// count against another.
type visitor struct {
	field   *field
	subject string
	token   string
	address string
	http    *http.Client
}

// visitor returns somebody who was never there, with a good token.
func (f *field) visitor(roles ...string) *visitor {
	n := f.visitors.Add(1)
	v := &visitor{field: f, subject: fmt.Sprint("visitor-", n), address: fmt.Sprintf("127.1.%d.%d", n/250, n%250+1)}
	if len(roles) > 0 {
		token, err := f.mint.Token(v.subject, roles...)
		if err != nil {
			token = err.Error()
		}
		v.token = token
	}
	v.http = &http.Client{
		Transport:     &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return v.dial(ctx) }, DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return v
}

// dial opens a bare connection.
func (v *visitor) dial(ctx context.Context) (net.Conn, error) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(v.address)}}
	return d.DialContext(ctx, "tcp", v.field.server.At.API)
}

// answer is what a request by HTTP got.
type answer struct {
	status int
	header http.Header
	body   string
	err    error
}

// String is the status and the reason of a refusal.
func (a answer) String() string {
	if a.err != nil {
		return "cut"
	}
	return strings.TrimSpace(fmt.Sprint(a.status, " ", reasonIn(a.body)))
}

var reasonPattern = regexp.MustCompile(`"reason": ?"([A-Z_]+)"`)

// reasonIn returns the reason of the refusal in a text, or "".
func reasonIn(text string) string {
	if m := reasonPattern.FindStringSubmatch(text); m != nil {
		return m[1]
	}
	return ""
}

// ask sends a request with the visitor's token, unless the header says otherwise.
func (v *visitor) ask(ctx context.Context, method, path string, header map[string]string, body io.Reader) answer {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, "http://"+v.field.server.At.API+path, body)
	if err != nil {
		return answer{err: err}
	}
	if v.token != "" {
		req.Header.Set("Authorization", "Bearer "+v.token)
	}
	for name, value := range maps.All(header) {
		if name == "Host" {
			req.Host = value
		}
		req.Header.Set(name, value)
	}
	resp, err := v.http.Do(req)
	if err != nil {
		return answer{err: err}
	}
	var text bytes.Buffer
	if strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") {
		line := make([]byte, 4096) // the stream goes on; its beginning is enough
		n, _ := resp.Body.Read(line)
		text.Write(line[:n])
	} else {
		_, err = text.ReadFrom(resp.Body)
	}
	err = errors.Join(err, resp.Body.Close())
	return answer{resp.StatusCode, resp.Header, text.String(), err}
}

// post calls a method.
func (v *visitor) post(ctx context.Context, method, commandID, body string) answer {
	header := map[string]string{}
	if commandID != "" {
		header["Idempotency-Key"] = commandID
	}
	return v.ask(ctx, http.MethodPost, "/api/"+method, header, strings.NewReader(body))
}

// secrets says what of people's secrets is in the server's log.
func (f *field) secrets() string {
	text, err := os.ReadFile(f.server.Log.Name())
	if err != nil {
		return err.Error()
	}
	found := "none"
	for _, secret := range []string{"eyJ", "tfmkey_", "PRIVATE KEY", "Bearer "} {
		if bytes.Contains(text, []byte(secret)) {
			found = secret
		}
	}
	return found
}

// newLines returns what reads one line after the other.
func newLines(r io.Reader) func() (string, error) {
	b := bufio.NewReader(r)
	return func() (string, error) {
		line, err := b.ReadString('\n')
		return strings.TrimRight(line, "\r\n"), err
	}
}

// warm has the server do a little of everything, so that what it keeps for ever
// is there before anything is counted.
func (f *field) warm(ctx context.Context) error {
	v := f.visitor("cloud-user", "cloud-operator")
	for range 20 {
		s, err := v.open(ctx)
		if err != nil {
			return err
		}
		s.text(call(1, "cloud-user/watch-account", "{}"))
		s.answers(1, soon)
		_ = s.Close()
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	f.shout(ctx)
	return nil
}
