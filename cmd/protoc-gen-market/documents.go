package main

import "fmt"

// documents adds what describes the API to programs and to people.
func (s *schema) documents(files map[string][]byte, preface []byte, methods []*method) error {
	var err error
	if files[manualFile], err = s.printManual(preface, methods); err != nil {
		return err
	}
	offered := public(methods)
	reasons, err := s.reasons()
	if err != nil {
		return err
	}
	d, err := newDirections(offered)
	if err != nil {
		return err
	}
	codes, err := closeCodes(preface)
	if err != nil {
		return err
	}
	if files[openAPIFile], err = s.printOpenAPI(offered, d, reasons); err != nil {
		return fmt.Errorf("describe the API over HTTP: %w", err)
	}
	if files[asyncAPIFile], err = s.printAsyncAPI(offered, d, reasons, codes); err != nil {
		return fmt.Errorf("describe the WebSocket: %w", err)
	}
	if files[typeScriptFile], err = s.printTypeScript(offered, d, reasons, codes); err != nil {
		return fmt.Errorf("name the schema in TypeScript: %w", err)
	}
	return nil
}
