package configs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/providers/file"
	"github.com/knadh/koanf/v2"
)

const (
	prefix     = "MARKETPLACE_"
	fileSuffix = "_FILE"
	// fileVariable names the file of settings, and is no setting itself.
	fileVariable = prefix + "CONFIG"
)

// Load returns the settings: the defaults, a file of YAML over them, and the
// variables of environ, which are spelled NAME=value as os.Environ does, over
// both. Without a name of a file, MARKETPLACE_CONFIG names it; without that
// there is none.
//
// The variable of gateway.in_flight is MARKETPLACE_GATEWAY_IN_FLIGHT, and that
// with _FILE at its end names a file that holds the value, as secrets are
// handed to containers. A list is written with commas. An empty variable
// counts as absent.
//
// The error joins everything that is wrong: unknown keys, values that cannot be
// read, and what Validate finds.
func Load(name string, environ []string) (Config, error) {
	c := Default()
	s := settingsOf(&c)
	merged := koanf.New(".")
	if name == "" {
		name = lookup(environ, fileVariable)
	}
	var faults []error
	if name != "" {
		faults = append(faults, s.loadFile(merged, name))
	}
	faults = append(faults, s.loadEnviron(merged, environ), s.apply(merged))
	if err := errors.Join(append(faults, c.Validate())...); err != nil {
		return Config{}, err
	}
	return c, nil
}

func lookup(environ []string, name string) string {
	for _, e := range environ {
		if key, value, _ := strings.Cut(e, "="); key == name {
			return value
		}
	}
	return ""
}

// loadFile lays the settings of a file over what is in to.
func (s settings) loadFile(to *koanf.Koanf, name string) error {
	layer := koanf.New(".")
	if err := layer.Load(file.Provider(name), yaml.Parser()); err != nil {
		return fmt.Errorf("read the settings of %s: %w", name, err)
	}
	var faults []error
	for _, key := range layer.Keys() {
		value := layer.All()[key]
		if empty, ok := value.(map[string]any); value == nil || ok && len(empty) == 0 {
			value = nil // a section or a setting that is named and left empty
		}
		switch {
		case s[key].IsValid() && value != nil:
			faults = append(faults, to.Set(key, value))
		case s[key].IsValid(), value == nil && s.section(key):
		case s.section(key):
			faults = append(faults, fmt.Errorf("%s: is a section and holds settings, not a value", key))
		case s[parent(key)].IsValid():
			faults = append(faults, fmt.Errorf("%s: there is no such setting; %s is a value and holds no settings", key, parent(key)))
		default:
			faults = append(faults, fmt.Errorf("%s: there is no such setting; did you mean %s?", key, nearest(key, s.paths())))
		}
	}
	return errors.Join(faults...)
}

// parent returns the path above key, or nothing.
func parent(key string) string { return key[:max(strings.LastIndexByte(key, '.'), 0)] }

// loadEnviron lays the settings of the environment over what is in to.
func (s settings) loadEnviron(to *koanf.Koanf, environ []string) error {
	var faults []error
	names := s.variables()
	given := map[string]string{} // path of a setting to the variable that gives it
	provider := env.Provider("", env.Opt{
		Prefix:      prefix,
		EnvironFunc: func() []string { return environ },
		TransformFunc: func(name, value string) (string, any) {
			path, value, err := names.read(name, value)
			if other, twice := given[path]; twice && path != "" {
				err = fmt.Errorf("%s: %s sets the same; keep one of them", name, other)
			}
			if err != nil {
				faults = append(faults, err)
				return "", nil
			}
			given[path] = name
			return path, value
		},
	})
	layer := koanf.New(".")
	faults = append(faults, layer.Load(provider, nil))
	for path, value := range layer.All() {
		faults = append(faults, to.Set(path, value))
	}
	return errors.Join(faults...)
}

// variables maps the names of variables to the paths of settings.
type variables map[string]string

// read returns the setting that a variable is for and its value. No path
// means that the variable is to be passed over.
func (v variables) read(name, value string) (path, text string, err error) {
	if name == fileVariable || value == "" && v.path(name) != "" {
		return "", "", nil
	}
	if path = v.path(name); path == "" {
		known := make([]string, 0, len(v))
		for n := range v {
			known = append(known, n)
		}
		return "", "", fmt.Errorf("%s: there is no such setting; did you mean %s?", name, nearest(name, known))
	}
	if v[name] == "" {
		content, err := os.ReadFile(filepath.Clean(value))
		if err != nil {
			return "", "", fmt.Errorf("%s: %w", name, err)
		}
		value = strings.TrimRight(string(content), "\r\n")
	}
	return path, value, nil
}

// path returns the setting of a variable, which may end in _FILE, or nothing.
func (v variables) path(name string) string {
	if p := v[name]; p != "" {
		return p
	}
	return v[strings.TrimSuffix(name, fileSuffix)]
}
