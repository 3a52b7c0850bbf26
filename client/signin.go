package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// ErrNotSignedIn says that an issuer gave no access token.
var ErrNotSignedIn = errors.New("not signed in")

// signInLimit bounds an issuer's answer.
const signInLimit = 1 << 20

// SignIn gets an access token from the sandbox's issuer, which asks for no
// password, and how long it is good for. Another issuer refuses, and the error
// wraps ErrNotSignedIn.
func SignIn(ctx context.Context, issuer, username string) (token string, ttl time.Duration, err error) {
	form := url.Values{"grant_type": {"password"}, "username": {username}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(issuer, "/")+"/oauth/token", strings.NewReader(form.Encode()))
	if err != nil {
		return "", 0, fmt.Errorf("sign in at %s: %w", issuer, err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", 0, fmt.Errorf("sign in at %s: %w", issuer, err)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, signInLimit))
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return "", 0, fmt.Errorf("sign in at %s: %w", issuer, err)
	}
	var answer struct {
		AccessToken string `json:"access_token"`
		ExpiresIn   int64  `json:"expires_in"`
		Description string `json:"error_description"`
	}
	if err := json.Unmarshal(body, &answer); err != nil || answer.AccessToken == "" { //nolint:forbidigo // an issuer's answer
		return "", 0, fmt.Errorf("%w: %s answers %s %s", ErrNotSignedIn, issuer, resp.Status, answer.Description)
	}
	return answer.AccessToken, time.Duration(answer.ExpiresIn) * time.Second, nil
}
