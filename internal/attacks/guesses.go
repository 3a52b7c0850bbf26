package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/threefoldtech/cloud-marketplace/messages"
)

// guesses are attacks that try many names, in the hope that one is good.
func guesses() []attack {
	return []attack{
		{name: "guess: tokens in the first frame", want: "stopped before the 300th", do: guess(300, byFirstFrame)},
		{name: "guess: tokens in the handshake", want: "stopped before the 300th", do: guess(300, byHandshake)},
		{name: "guess: tokens by HTTP", want: "stopped before the 300th", do: guess(300, byHTTP)},
		{name: "guess: API keys by HTTP", want: "stopped before the 300th", do: guess(300, byKey)},
		{name: "guess: sessions' cookies by HTTP", want: "stopped before the 300th", do: guess(300, byCookie)},
		{name: "guess: tokens by session/refresh", want: "stopped before the 130th", do: guessByRefresh},
		{name: "guess: ids by WebSocket", want: "stopped before the 60th", do: guessIDs},
		{name: "guess: ids by HTTP", want: "stopped before the 60th", do: guess(60, byID)},
	}
}

// guess tries until the address or the person has to wait.
func guess(n int, try func(ctx context.Context, v *visitor, i int) string) func(context.Context, *field) string {
	return func(ctx context.Context, f *field) string {
		v := f.visitor("cloud-user")
		said := ""
		for i := range n {
			if said = try(ctx, v, i); strings.Contains(said, "RATE_LIMITED") {
				return fmt.Sprintf("stopped before the %dth", n)
			}
		}
		return fmt.Sprintf("%d tries, the last: %s", n, said)
	}
}

func byFirstFrame(ctx context.Context, v *visitor, _ int) string {
	v.token = ""
	s, said := v.handshake(ctx, nil)
	if s == nil {
		return said
	}
	s.text(`{"jsonrpc":"2.0","id":1,"method":"session/open","params":{"accessToken":"a.b.c"}}`)
	return s.verdict(soon)
}

func byHandshake(ctx context.Context, v *visitor, _ int) string {
	v.token = "a.b.c"
	s, said := v.handshake(ctx, nil)
	if s == nil {
		return said
	}
	return s.verdict(soon)
}

func byHTTP(ctx context.Context, v *visitor, i int) string {
	v.token = fmt.Sprintf("a.%d.c", i)
	return v.post(ctx, "cloud-user/get-account", "", "{}").String()
}

func byKey(ctx context.Context, v *visitor, i int) string {
	v.token = fmt.Sprintf("tfmkey_key%d_secret", i)
	return v.post(ctx, "cloud-user/get-account", "", "{}").String()
}

func byCookie(ctx context.Context, v *visitor, i int) string {
	v.token = ""
	return v.ask(ctx, "GET", "/auth/session", map[string]string{"Cookie": fmt.Sprintf("session=id%d_secret", i)}, nil).String()
}

func byID(ctx context.Context, v *visitor, i int) string {
	return v.post(ctx, "cloud-user/deployment-detail", "", fmt.Sprintf(`{"deploymentId":"guess%d"}`, i)).String()
}

// guessByRefresh tries on a connection that is open.
func guessByRefresh(ctx context.Context, f *field) string {
	return onSocket(ctx, f, 130, func(i int) string {
		return call(i, "session/refresh", `{"accessToken":"`+messages.NewCommandID()+`"}`)
	})
}

func guessIDs(ctx context.Context, f *field) string {
	return onSocket(ctx, f, 60, func(i int) string {
		return call(i, "cloud-user/deployment-detail", fmt.Sprintf(`{"deploymentId":"guess%d"}`, i))
	})
}

// onSocket asks one thing after the other until the answer is to wait.
func onSocket(ctx context.Context, f *field, n int, ask func(i int) string) string {
	s, err := f.visitor("cloud-user").open(ctx)
	if err != nil {
		return err.Error()
	}
	defer func() { _ = s.Close() }()
	for i := range n {
		s.text(ask(i))
		s.answers(1, soon)
		if len(s.reasons) > 0 && s.reasons[len(s.reasons)-1] == "RATE_LIMITED" {
			return fmt.Sprintf("stopped before the %dth", n)
		}
	}
	return fmt.Sprintf("%d tries, the last: %s", n, strings.Join(s.reasons, " "))
}
