package configs

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/knadh/koanf/v2"
)

// settings are the fields of a Config by path, such as gateway.in_flight.
type settings map[string]reflect.Value

// settingsOf returns the fields of c, which setting them changes.
func settingsOf(c *Config) settings {
	s := settings{}
	s.add("", reflect.ValueOf(c).Elem())
	return s
}

func (s settings) add(path string, v reflect.Value) {
	for i := range v.NumField() {
		p := path + v.Type().Field(i).Tag.Get("koanf")
		if f := v.Field(i); f.Kind() == reflect.Struct {
			s.add(p+".", f)
		} else {
			s[p] = f
		}
	}
}

// paths returns the paths of all settings, in order.
func (s settings) paths() []string { return slices.Sorted(maps.Keys(s)) }

// section says whether settings lie below a path.
func (s settings) section(path string) bool {
	return slices.ContainsFunc(s.paths(), func(p string) bool { return strings.HasPrefix(p, path+".") })
}

// variables returns the names that settings have in the environment.
func (s settings) variables() variables {
	v := variables{}
	for path := range s {
		v[prefix+strings.ToUpper(strings.ReplaceAll(path, ".", "_"))] = path
	}
	return v
}

// apply sets the fields to what was read.
func (s settings) apply(read *koanf.Koanf) error {
	var faults []error
	for _, path := range read.Keys() {
		if err := set(s[path], read.Get(path)); err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", path, err))
		}
	}
	return errors.Join(faults...)
}

// set gives a field a value as YAML or a variable has it. What does not
// mean exactly one value of the field's type is an error.
func set(field reflect.Value, value any) error {
	text, isText := value.(string)
	switch to := field.Addr().Interface().(type) {
	case *string:
		if !isText {
			return fmt.Errorf("%v is not text; put it in quotes", value)
		}
		*to = text
	case *time.Duration:
		d, err := time.ParseDuration(text)
		if err != nil {
			return fmt.Errorf("%v is not a duration, such as 25s or 10m", value)
		}
		*to = d
	case *float64:
		f, err := strconv.ParseFloat(fmt.Sprint(value), 64)
		if err != nil {
			return fmt.Errorf("%v is not a number", value)
		}
		*to = f
	case *int:
		n, err := strconv.Atoi(fmt.Sprint(value))
		if err != nil {
			return fmt.Errorf("%v is not a whole number", value)
		}
		*to = n
	case *bool:
		b, err := strconv.ParseBool(fmt.Sprint(value))
		if err != nil {
			return fmt.Errorf("%v is neither true nor false", value)
		}
		*to = b
	case *Bytes:
		n, err := parseBytes(fmt.Sprint(value))
		if err != nil {
			return err
		}
		*to = n
	case *[]string:
		list, err := texts(value)
		if err != nil {
			return err
		}
		*to = list
	default:
		return fmt.Errorf("settings of type %s cannot be read", field.Type())
	}
	return nil
}

// texts reads a list of YAML, or one with commas.
func texts(value any) ([]string, error) {
	var list []string
	switch value := value.(type) {
	case string:
		for item := range strings.SplitSeq(value, ",") {
			list = append(list, strings.TrimSpace(item))
		}
	case []any:
		for _, item := range value {
			text, ok := item.(string)
			if !ok {
				return nil, fmt.Errorf("%v is not text; put it in quotes", item)
			}
			list = append(list, text)
		}
	default:
		return nil, fmt.Errorf("%v is not a list", value)
	}
	return list, nil
}

// nearest returns the candidate with the fewest letters to change.
func nearest(word string, candidates []string) string {
	slices.Sort(candidates)
	return slices.MinFunc(candidates, func(a, b string) int { return distance(word, a) - distance(word, b) })
}

// distance is how many letters to add, drop or replace turn a into b.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replace := diagonal
			if a[i] != b[j] {
				replace++
			}
			diagonal = row[j+1]
			row[j+1] = min(replace, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
