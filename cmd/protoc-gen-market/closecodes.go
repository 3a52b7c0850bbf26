package main

import (
	"errors"
	"regexp"
	"strconv"
)

// closeCode says why the server ends a connection.
type closeCode struct {
	code              int
	meaning, comeBack string
}

// closeRow is a row of the table of close codes in the preface of the manual.
var closeRow = regexp.MustCompile(`(?m)^\| (\d{4}) \| ([^|]+) \| ([^|]+) \|$`)

// closeCodes reads the table of close codes, so that people, documents and
// clients are told the same.
func closeCodes(preface []byte) ([]closeCode, error) {
	var list []closeCode
	for _, row := range closeRow.FindAllStringSubmatch(string(preface), -1) {
		code, err := strconv.Atoi(row[1])
		if err != nil {
			return nil, err //nolint:wrapcheck // four digits are a number
		}
		list = append(list, closeCode{code, row[2], row[3]})
	}
	if len(list) == 0 {
		return nil, errors.New(prefaceFile + ": the table of close codes is missing")
	}
	return list, nil
}
