package configs

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// write returns the name of a new file that holds text.
func write(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestNothingIsTheSandbox(t *testing.T) {
	c, err := Load("", []string{"PATH=/bin", "MARKETPLACE_DATA=", "MARKETPLACE_CONFIG="})
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(c, Default()) || !c.Sandbox() {
		t.Errorf("got %+v, want the defaults", c)
	}
}

// TestExamples also makes sure that sandbox.yaml names every setting.
func TestExamples(t *testing.T) {
	c, err := Load("sandbox.yaml", nil)
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.Gateway.Origins, want.Gateway.Hosts = c.Gateway.Origins, c.Gateway.Hosts
	if !reflect.DeepEqual(c, want) || len(c.Gateway.Origins)+len(c.Gateway.Hosts) != 0 {
		t.Errorf("sandbox.yaml says %+v, the defaults are %+v", c, want)
	}
	text, err := os.ReadFile("sandbox.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range settingsOf(&c).paths() {
		key := path[strings.LastIndexByte(path, '.')+1:]
		if !strings.Contains(string(text), key+":") {
			t.Errorf("sandbox.yaml does not name %s", path)
		}
	}
	c, err = Load("production.yaml", nil)
	if err != nil || c.Sandbox() {
		t.Errorf("production.yaml: %v, sandbox %t", err, c.Sandbox())
	}
}

func TestLayers(t *testing.T) {
	file := write(t, `
data: from-file
auth:
actors: {}
billing: {credit_grace: }
gateway:
  burst: 400
  queue_bytes: 2MiB
  max_frame_bytes: "2048"
  ping_after: 30s
  origins: [https://a.example, https://b.example]
`)
	audience := write(t, "from-secret\n")
	c, err := Load("", []string{
		"MARKETPLACE_CONFIG=" + file,
		"MARKETPLACE_DATA=from=environment",
		"MARKETPLACE_GATEWAY_BURST=500",
		"MARKETPLACE_GATEWAY_HOSTS=a.example, b.example",
		"MARKETPLACE_GATEWAY_DRAIN=1m30s",
		"MARKETPLACE_AUTH_AUDIENCE_FILE=" + audience,
	})
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.Data = "from=environment"
	want.Auth.Audience = "from-secret"
	want.Gateway.Burst = 500
	want.Gateway.QueueBytes, want.Gateway.MaxFrameBytes = 2*MiB, 2*KiB
	want.Gateway.PingAfter, want.Gateway.Drain = 30*time.Second, 90*time.Second
	want.Gateway.Origins = []string{"https://a.example", "https://b.example"}
	want.Gateway.Hosts = []string{"a.example", "b.example"}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("got  %+v\nwant %+v", c, want)
	}
}

func TestUnknownAndUnreadable(t *testing.T) {
	for _, c := range []struct {
		name, file string
		environ    []string
		want       []string
	}{
		{"unknown key", "gateway: {brust: 1}", nil, []string{"gateway.brust: there is no such setting; did you mean gateway.burst?"}},
		{"unknown section", "gatway: {burst: 1}", nil, []string{"gatway.burst: there is no such setting; did you mean gateway.burst?"}},
		{"empty unknown section", "gatway:", nil, []string{"gatway: there is no such setting"}},
		{"key in the wrong section", "burst: 5", nil, []string{"burst: there is no such setting"}},
		{"section with a value", "gateway: 5", nil, []string{"gateway: is a section and holds settings, not a value"}},
		{"setting with settings", "data: {folder: x}", nil, []string{"data.folder: there is no such setting; data is a value and holds no settings"}},
		{"every unknown key", "a: 1\nb: 2", nil, []string{"a: there is", "b: there is"}},
		{"key twice", "data: a\ndata: b", nil, []string{"already defined"}},
		{"no YAML", "{", nil, []string{"yaml"}},
		{"unknown variable", "", []string{"MARKETPLACE_LOG_LEVELS=debug"}, []string{"MARKETPLACE_LOG_LEVELS: there is no such setting; did you mean MARKETPLACE_LOG_LEVEL?"}},
		{"unknown empty variable", "", []string{"MARKETPLACE_LEVEL="}, []string{"MARKETPLACE_LEVEL: there is no such setting"}},
		{"value and file", "", []string{"MARKETPLACE_DATA=a", "MARKETPLACE_DATA_FILE=load_test.go"}, []string{"MARKETPLACE_DATA_FILE: MARKETPLACE_DATA sets the same"}},
		{"missing file of a value", "", []string{"MARKETPLACE_DATA_FILE=nowhere"}, []string{"MARKETPLACE_DATA_FILE: open nowhere"}},
		{"duration without unit", "actors: {idle_after: 60}", nil, []string{"actors.idle_after: 60 is not a duration, such as 25s or 10m"}},
		{"fraction", "gateway: {rate: 1.5}", nil, []string{"gateway.rate: 1.5 is not a whole number"}},
		{"truth for a number", "gateway: {rate: true}", nil, []string{"gateway.rate: true is not a whole number"}},
		{"number for text", "data: 5", nil, []string{"data: 5 is not text; put it in quotes"}},
		{"bytes of another unit", "gateway: {queue_bytes: 1MB}", nil, []string{`gateway.queue_bytes: "1MB" is not a number of bytes, such as 65536 or 64KiB`}},
		{"too many bytes", "gateway: {queue_bytes: 9999999999GiB}", nil, []string{"is not a number of bytes"}},
		{"map for a list", "gateway: {origins: 5}", nil, []string{"gateway.origins: 5 is not a list"}},
		{"number in a list", "gateway: {hosts: [5]}", nil, []string{"gateway.hosts: 5 is not text; put it in quotes"}},
		{
			"several faults at once", "gateway: {rate: x}\nlog: {level: loud, colour: red}",
			[]string{"MARKETPLACE_X=y"},
			[]string{"gateway.rate: x is not", `log.level: "loud" is none of debug, info, warn, error`, "log.colour: there", "MARKETPLACE_X: there"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Load(write(t, c.file), c.environ)
			if err == nil {
				t.Fatal("it was accepted")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the error %q does not say %q", err, want)
				}
			}
		})
	}
	if _, err := Load("nowhere.yaml", nil); err == nil {
		t.Error("a file that is not there was accepted")
	}
}

func TestBytes(t *testing.T) {
	for text, want := range map[string]Bytes{"0": 0, "1000": 1000, "64KiB": 64 * KiB, "3 MiB": 3 * MiB, "1GiB": GiB} {
		got, err := parseBytes(text)
		if err != nil || got != want {
			t.Errorf("%s: got %d, %v", text, got, err)
		}
		if again, err := parseBytes(got.String()); err != nil || again != got {
			t.Errorf("%s is written %s, which is %d, %v", text, got, again, err)
		}
	}
}
