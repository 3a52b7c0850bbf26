package main

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
)

// browsers are attacks by pages of other sites on somebody who is signed in.
func browsers() []attack {
	evil := map[string]string{"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
	sibling := map[string]string{"Sec-Fetch-Site": "same-site"}
	const refused = "403 ORIGIN_REFUSED"
	return []attack{
		cookied("POST of another site's page", refused, http.MethodPost, account, evil),
		cookied("POST of another site's page that hides its name", refused, http.MethodPost, account, map[string]string{"Origin": "null"}),
		cookied("POST of a neighbour's page", refused, http.MethodPost, account, sibling),
		cookied("signing out by another site's page", refused, http.MethodPost, "/auth/logout", evil),
		cookied("GET of another site's page", "403 ORIGIN_REFUSED or 200, unreadable for the page", http.MethodGet, account, evil),
		cookied("stream of another site's page", refused, http.MethodGet, "/api/cloud-user/watch-account", map[string]string{"Accept": "text/event-stream", "Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}),
		cookied("stream of a neighbour's page", refused, http.MethodGet, "/api/cloud-user/watch-account", map[string]string{"Accept": "text/event-stream", "Sec-Fetch-Site": "same-site", "Origin": "http://neighbour.localhost"}),
		cookied("preflight of another site's page", "400 MALFORMED_REQUEST, unreadable for the page", http.MethodOptions, account, map[string]string{"Origin": "https://evil.example", "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "idempotency-key"}),
		{name: "browser: socket of another site's page with the cookie", want: refused, do: cookiedSocket(map[string]string{"Origin": "https://evil.example"})},
		{name: "browser: socket with the cookie and no page", want: "4504", waits: true, do: cookiedSocket(nil)},
		{name: "browser: sign-in that ends on another site", want: "stays here", do: redirects},
		{name: "browser: end of a sign-in that never began", want: "400", do: strayCallback},
		{name: "browser: headers that keep pages apart", want: "all there", do: headers},
	}
}

// cookie signs alice in as a browser and returns her session's cookie.
func (v *visitor) cookie(ctx context.Context, returnTo string) (cookie, ended string, err error) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return "", "", err
	}
	c := &http.Client{Jar: jar, CheckRedirect: func(r *http.Request, _ []*http.Request) error {
		if ended = r.URL.String(); r.Host != v.field.server.At.API && !strings.Contains(v.field.server.At.Issuer, r.Host) {
			return http.ErrUseLastResponse
		}
		return nil
	}}
	home := "http://" + v.field.server.At.API
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, home+"/auth/login?prompt=none&login_hint=alice&return_to="+url.QueryEscape(returnTo), http.NoBody)
	if err != nil {
		return "", "", err
	}
	resp, err := c.Do(req)
	if err != nil {
		return "", "", err
	}
	_ = resp.Body.Close()
	at, err := url.Parse(home)
	if err != nil {
		return "", "", err
	}
	for _, one := range jar.Cookies(at) {
		if one.Name == "session" {
			cookie = "session=" + one.Value
		}
	}
	if cookie == "" {
		err = fmt.Errorf("alice was not signed in: %s", resp.Status)
	}
	return cookie, ended, err
}

// cookied is an attack that sends a request as a browser does for a page.
func cookied(name, want, method, path string, header map[string]string) attack {
	return attack{name: "browser: " + name, want: want, do: func(ctx context.Context, f *field) string {
		v := f.visitor()
		cookie, _, err := v.cookie(ctx, "/")
		if err != nil {
			return err.Error()
		}
		all := map[string]string{"Cookie": cookie}
		maps.Copy(all, header)
		body := strings.NewReader("{}")
		a := v.ask(ctx, method, path, all, body)
		if a.status == http.StatusForbidden {
			return a.String()
		}
		if a.header.Get("Access-Control-Allow-Origin") != "" {
			return a.String() + ", readable for the page"
		}
		return a.String() + ", unreadable for the page"
	}}
}

func cookiedSocket(header map[string]string) func(context.Context, *field) string {
	return func(ctx context.Context, f *field) string {
		v := f.visitor()
		cookie, _, err := v.cookie(ctx, "/")
		if err != nil {
			return err.Error()
		}
		all := map[string]string{"Cookie": cookie}
		maps.Copy(all, header)
		s, said := v.handshake(ctx, all)
		if s == nil {
			return said
		}
		return s.verdict(withinLimit)
	}
}

// redirects signs in with places to go to that are not ours.
func redirects(ctx context.Context, f *field) string {
	for _, to := range []string{"//evil.example", "https://evil.example/", `/\evil.example`, "/\t/evil.example", "javascript:alert(1)", "///evil.example", "http:evil.example", "/%0d%0aLocation:%20//evil.example"} {
		_, ended, err := f.visitor().cookie(ctx, to)
		if err != nil {
			return err.Error()
		}
		if !strings.HasPrefix(ended, "http://"+f.server.At.API+"/") {
			return to + " ends at " + ended
		}
	}
	return "stays here"
}

func strayCallback(ctx context.Context, f *field) string {
	return f.visitor().ask(ctx, http.MethodGet, "/auth/callback?code=x&state=y", nil, nil).String()
}

// headers looks for what keeps other pages from using an answer.
func headers(ctx context.Context, f *field) string {
	a := f.visitor("cloud-user").ask(ctx, http.MethodGet, account, nil, nil)
	for name, want := range map[string]string{
		"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "default-src 'none'", "Cross-Origin-Resource-Policy": "same-origin",
		"Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "Vary": "Origin",
	} {
		if !strings.Contains(a.header.Get(name), want) {
			return name + " is " + a.header.Get(name)
		}
	}
	return "all there"
}
