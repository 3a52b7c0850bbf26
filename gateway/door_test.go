package gateway

import "testing"

// TestOtherPages refuses pages of other sites, and names that this server has not.
func TestOtherPages(t *testing.T) {
	s := serve(t, func(c *Config) { c.Origins = []string{"https://friend.example"} })
	for name, c := range map[string]struct {
		path, host, origin, method string
		want                       int
	}{
		"socket":                 {"/ws", "localhost", "", "GET", 101},
		"socket, own page":       {"/ws", "localhost", "http://localhost", "GET", 101},
		"socket, capitals":       {"/ws", "LocalHost", "", "GET", 101},
		"socket, friend":         {"/ws", "localhost", "https://friend.example", "GET", 101},
		"socket, foreign page":   {"/ws", "localhost", "https://evil.example", "GET", 403},
		"socket, foreign host":   {"/ws", "evil.example", "", "GET", 421},
		"socket, rebound host":   {"/ws", "evil.example", "http://evil.example", "GET", 421},
		"request":                {"/api/cloud-user/get-account", "localhost", "", "POST", 200},
		"request, friend":        {"/api/cloud-user/get-account", "localhost", "https://friend.example", "POST", 200},
		"request, foreign page":  {"/api/cloud-user/get-account", "localhost", "https://evil.example", "POST", 403},
		"request, foreign host":  {"/api/cloud-user/get-account", "evil.example", "", "POST", 421},
		"request, trailing part": {"/api/cloud-user/get-account", "localhost.evil.example", "", "POST", 421},
	} {
		t.Run(name, func(t *testing.T) {
			if got := s.status(c.method, c.path, c.host, c.origin); got != c.want {
				t.Errorf("status %d, not %d", got, c.want)
			}
		})
	}
}
