package gridproxy

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// limit says which page of a list is wanted.
type limit struct {
	size, page uint64
	count      bool
}

// pages is how many pages n items fill.
func (l *limit) pages(n int) uint64 {
	if l.size == 0 {
		return 0
	}
	return (uint64(n) + l.size - 1) / l.size //nolint:gosec // a length is not negative
}

// page returns the items of the page; the page before the first is the first.
func page[T any](l *limit, all []T) []T {
	n := uint64(len(all))
	skip := uint64(0)
	if before := max(l.page, 1) - 1; before != 0 && l.size != 0 {
		if before > n/l.size {
			return []T{}
		}
		skip = before * l.size
	}
	return all[skip:min(n, skip+min(l.size, n-skip))]
}

// query is what a list is asked for.
type query[T any] struct {
	limit
	matches []func(T) bool
}

// keep returns the items that match, as a list of its own.
func (q query[T]) keep(all []T) []T {
	kept := []T{}
	for _, item := range all {
		if !slices.ContainsFunc(q.matches, func(match func(T) bool) bool { return !match(item) }) {
			kept = append(kept, item)
		}
	}
	return kept
}

// filter makes of a parameter's value the condition that it stands for.
type filter[T any] func(value string) (func(T) bool, error)

// limitUnplayed are the parameters of every list that are not played.
var limitUnplayed = []string{"randomize", "sort_by", "sort_order", "balance"}

// errStatus is a status that does not exist, at which the real server's database stumbles.
var errStatus = errors.New("no such status")

// parseQuery reads the parameters of a list. An error comes with the HTTP
// status and the words of the real server. Parameters without a value count for nothing.
func parseQuery[T any](values url.Values, filters map[string]filter[T], unplayed []string) (query[T], int, error) {
	q := query[T]{limit: limit{size: 50, page: 1}}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		given := slices.DeleteFunc(slices.Clone(values[name]), func(v string) bool { return v == "" })
		if len(given) == 0 {
			continue
		}
		value := given[len(given)-1]
		if strings.HasSuffix(name, "_ids") {
			value = strings.Join(given, ",")
		}
		err := q.set(name, value)
		if condition, ok := filters[name]; ok {
			var match func(T) bool
			match, err = condition(value)
			q.matches = append(q.matches, match)
		}
		switch {
		case err == nil:
		case errors.Is(err, errUnknown) && (slices.Contains(unplayed, name) || slices.Contains(limitUnplayed, name)):
			return q, http.StatusNotImplemented, fmt.Errorf("the sandbox does not play the parameter %s", name)
		case errors.Is(err, errUnknown):
			return q, http.StatusBadRequest, fmt.Errorf("failed to decode params: schema: invalid path %q", name)
		case errors.Is(err, errStatus):
			return q, http.StatusInternalServerError, err
		default:
			return q, http.StatusBadRequest, fmt.Errorf("failed to decode params: schema: error converting value for %q", name)
		}
	}
	return q, http.StatusOK, nil
}

var errUnknown = errors.New("no such parameter")

// set takes a parameter that all lists have.
func (l *limit) set(name, value string) (err error) {
	switch name {
	case "size":
		l.size, err = strconv.ParseUint(value, 10, 64)
	case "page":
		l.page, err = strconv.ParseUint(value, 10, 64)
	case "ret_count":
		l.count, err = strconv.ParseBool(value)
	default:
		err = errUnknown
	}
	return err
}
