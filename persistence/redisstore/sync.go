package redisstore

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
)

// snapshot asks the server for its data as a replica would: all of one moment,
// while it goes on. The server writes it aside first, which takes disk space
// and a fork. Close ends the transfer.
func (s *Store) snapshot(ctx context.Context) (_ io.Reader, end func() error, err error) {
	o := s.reads.Options()
	conn, err := o.Dialer(ctx, o.Network, o.Addr)
	if err != nil {
		return nil, nil, fmt.Errorf("connect for a snapshot: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, conn.Close())
		}
	}()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	end = func() error {
		stop()
		return conn.Close()
	}
	r := bufio.NewReader(conn)
	if o.Password != "" {
		user := o.Username
		if user == "" {
			user = "default"
		}
		if err := say(conn, "AUTH", user, o.Password); err != nil {
			return nil, nil, err
		}
		if answer, err := heard(r); err != nil || answer != "+OK" {
			return nil, nil, fmt.Errorf("sign in for a snapshot: %s %w", answer, err)
		}
	}
	if err := say(conn, "SYNC"); err != nil {
		return nil, nil, err
	}
	answer, err := heard(r)
	if err != nil {
		return nil, nil, fmt.Errorf("wait for a snapshot: %w", err)
	}
	size, found := strings.CutPrefix(answer, "$")
	if !found {
		return nil, nil, fmt.Errorf("the server gives no snapshot, which needs the permission for SYNC: %q", answer)
	}
	n, err := strconv.ParseInt(size, 10, 64)
	if err != nil {
		return nil, nil, fmt.Errorf("the server announces a snapshot of %q bytes: %w", size, err)
	}
	return io.LimitReader(r, n), end, nil
}

// say sends a command.
func say(conn net.Conn, words ...string) error {
	text := fmt.Appendf(nil, "*%d\r\n", len(words))
	for _, w := range words {
		text = fmt.Appendf(text, "$%d\r\n%s\r\n", len(w), w)
	}
	_, err := conn.Write(text)
	return err
}

// heard returns the next line that is not empty: a server that prepares a
// snapshot sends empty ones.
func heard(r *bufio.Reader) (string, error) {
	for {
		line, err := r.ReadString('\n')
		if line = strings.TrimSpace(line); err != nil || line != "" {
			return line, err
		}
	}
}
