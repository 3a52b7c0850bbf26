package issuer

import (
	"crypto/subtle"
	"net/http"
	"net/url"
	"slices"
)

// Client is a program that may ask for people to be signed in.
type Client struct {
	ID        string
	Secret    string   // empty: a public client, such as a page or a program of the user
	Redirects []string // where people may be sent back to, letter by letter
}

// origins returns the sites that the client's pages are on.
func (c Client) origins() []string {
	var origins []string
	for _, redirect := range c.Redirects {
		if u, err := url.Parse(redirect); err == nil && u.Host != "" {
			origins = append(origins, u.Scheme+"://"+u.Host)
		}
	}
	return origins
}

// client returns the client of an id.
func (i *Issuer) client(id string) (Client, bool) {
	n := slices.IndexFunc(i.config.Clients, func(c Client) bool { return c.ID == id })
	if n < 0 || id == "" {
		return Client{}, false
	}
	return i.config.Clients[n], true
}

// authenticate returns the client that sent a request for a token. One that
// does not exist, or that does not know its secret, is a failure.
func (i *Issuer) authenticate(r *http.Request) (Client, error) {
	id, secret, basic := r.BasicAuth()
	if basic {
		id, secret = unescape(id), unescape(secret)
	} else {
		id, secret = r.PostFormValue("client_id"), r.PostFormValue("client_secret")
	}
	c, ok := i.client(id)
	if subtle.ConstantTimeCompare([]byte(secret), []byte(c.Secret)) != 1 || !ok {
		return Client{}, &failure{http.StatusUnauthorized, "invalid_client", "There is no such client, or that is not its secret."}
	}
	return c, nil
}

// unescape undoes how OAuth writes ids and secrets in a header.
func unescape(text string) string {
	plain, err := url.QueryUnescape(text)
	if err != nil {
		return text
	}
	return plain
}
