package main

import (
	"slices"
	"strconv"
	"strings"
	"unicode"

	"google.golang.org/protobuf/compiler/protogen"
)

func quote(s string) string { return strconv.Quote(s) }

// kebabCase turns the name of an rpc into its name on the wire; a run of
// capitals counts as one word.
func kebabCase(name string) string {
	var b strings.Builder
	runes := []rune(name)
	for i, r := range runes {
		if i > 0 && unicode.IsUpper(r) && (!unicode.IsUpper(runes[i-1]) || i+1 < len(runes) && unicode.IsLower(runes[i+1])) {
			b.WriteByte('-')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

// goCase turns a name in kebab case into an exported name of Go.
func goCase(name string) string {
	var b strings.Builder
	for part := range strings.SplitSeq(name, "-") {
		if part != "" {
			b.WriteString(strings.ToUpper(part[:1]) + part[1:])
		}
	}
	return b.String()
}

// oneLine returns a comment without its line breaks.
func oneLine(c protogen.Comments) string { return strings.Join(strings.Fields(string(c)), " ") }

// asComment returns a comment as Go writes one, indented.
func asComment(c protogen.Comments, indent string) string {
	text := strings.TrimSpace(string(c))
	if text == "" {
		return ""
	}
	var b strings.Builder
	for line := range strings.SplitSeq(text, "\n") {
		b.WriteString(strings.TrimRight(indent+"// "+strings.TrimSpace(line), " ") + "\n")
	}
	return b.String()
}

// thousands puts commas between the thousands of a whole number.
func thousands(number string) string {
	digits := strings.TrimPrefix(number, "-")
	sign := number[:len(number)-len(digits)]
	if len(digits) <= 4 || strings.Trim(digits, "0123456789") != "" {
		return number
	}
	var groups []string
	for ; len(digits) > 3; digits = digits[:len(digits)-3] {
		groups = append(groups, digits[len(digits)-3:])
	}
	groups = append(groups, digits)
	slices.Reverse(groups)
	return sign + strings.Join(groups, ",")
}
