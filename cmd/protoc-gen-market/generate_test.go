package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestRepositoryIsCurrent fails when the schema, the preface or the generator
// has changed and what follows from them has not.
func TestRepositoryIsCurrent(t *testing.T) {
	root := filepath.Join("..", "..")
	files, err := generate(t.Context(), os.DirFS(root))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range files {
		if got, err := os.ReadFile(filepath.Join(root, name)); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s is not current; run make generate", name)
		}
	}
	stale, err := staleTypes(os.DirFS(root), files)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range stale {
		t.Errorf("%s has no schema any more; run make generate", name)
	}
}

// TestTwiceIsTheSame generates twice and expects the same bytes.
func TestTwiceIsTheSame(t *testing.T) {
	fsys := module(t, sound)
	first, err := generate(t.Context(), fsys)
	if err != nil {
		t.Fatal(err)
	}
	second, err := generate(t.Context(), fsys)
	if err != nil {
		t.Fatal(err)
	}
	for name := range first {
		if !bytes.Equal(first[name], second[name]) {
			t.Errorf("%s is not the same twice", name)
		}
	}
}

// TestWhatIsPrinted looks for the lines that others rely on.
func TestWhatIsPrinted(t *testing.T) {
	files, err := generate(t.Context(), module(t, sound))
	if err != nil {
		t.Fatal(err)
	}
	for name, lines := range map[string][]string{
		methodsFile: {
			`Path:     "cloud-user/start",`,
			`Roles:    []optionsv1.Role{optionsv1.Role_ROLE_CLOUD_USER},`,
			`Stream:   optionsv1.Stream_STREAM_STATE,`,
			`Comment:  "Start starts a machine.",`,
			`Internal: true,`,
		},
		kindsFile: {
			"type MachineDecider[S, E, C any] interface {",
			"\t// Start starts a machine.\n\tStart(s S, req *marketplacev1.StartRequest, c C) ([]E, *marketplacev1.StartResponse, error)",
			"\tShow(s S, req *marketplacev1.ShowRequest, c C) (*marketplacev1.ShowResponse, error)",
			"\tcase *marketplacev1.CheckRequest:\n\t\treturn decided(d.Check(s, req, c))",
			"\tcase *marketplacev1.ShowRequest:\n\t\treturn answered[E](d.Show(s, req, c))",
		},
		manualFile: {
			"| [`cloud-user/start`](#cloud-userstart) | command | cloud-user |",
			"- Answered by: actor `machine`, the one named by `machineId`.",
			"| `times` | uint32 | How often. *Rules: at most 3.* |",
			"| `GONE` | NOT_FOUND | 404 | -32005 | no | Nothing here. |",
			"- Who: anybody.",
		},
		typeScriptFile: {
			"export interface StartRequest {\n  /** Which machine. */\n  machineId?: string;\n  /** How often. Rules: at most 3. */\n  times?: number;",
			"export type ShowRequest = Record<string, never>;",
			"export interface ShowResponse {\n  /** How it is. */\n  mood: Mood;\n}",
			"export type Mood =\n  /** Nobody knows. */\n  | \"MOOD_UNSPECIFIED\";",
			`  "cloud-user/watch": { kind: "STATE"; request: WatchRequest; response: WatchResponse };`,
			`  "cloud-user/start": { path: "cloud-user/start", kind: "command", roles: ["ROLE_CLOUD_USER"] },`,
			`  GONE: { code: 5, http: 404, retry: false },`,
			`  4500: "the token has expired",`,
		},
	} {
		for _, line := range lines {
			if !strings.Contains(string(files[name]), line) {
				t.Errorf("%s does not hold\n%s", name, line)
			}
		}
	}
	for _, internal := range []string{"MachineTaskService", "CheckRequest"} {
		for _, name := range []string{manualFile, typeScriptFile} {
			if strings.Contains(string(files[name]), internal) {
				t.Errorf("%s shows %s, which is internal", name, internal)
			}
		}
	}
}

func TestKebabCase(t *testing.T) {
	for name, want := range map[string]string{
		"CreateDeployment": "create-deployment", "List": "list", "GetIPAddress": "get-ip-address", "UseV2": "use-v2",
	} {
		if got := kebabCase(name); got != want {
			t.Errorf("%s becomes %s, want %s", name, got, want)
		}
	}
}

func TestThousands(t *testing.T) {
	for number, want := range map[string]string{
		"0": "0", "8192": "8192", "16384": "16,384", "-100000": "-100,000", "1000000": "1,000,000", "0.25": "0.25", "1e+10": "1e+10",
	} {
		if got := thousands(number); got != want {
			t.Errorf("%s becomes %s, want %s", number, got, want)
		}
	}
}
