// Package rig runs the real server as a process with the sandbox around it, for
// programs that hurt it: it starts, kills and counts it, and signs in anybody
// with the key of the sandbox's issuer.
package rig

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
)

const server = "github.com/threefoldtech/cloud-marketplace/cmd/marketplace"

// Build builds the server in a folder and returns the binary's name.
func Build(ctx context.Context, folder string) (string, error) {
	binary := filepath.Join(folder, "marketplace")
	build := exec.CommandContext(ctx, "go", "build", "-o", binary, server) //nolint:gosec // our own server
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return "", fmt.Errorf("build the server: %w", err)
	}
	return binary, nil
}

// LookAtSource reads the source of the server below a folder. A test that builds
// the server calls it, so that the test cache sees every change.
func LookAtSource(root string) error {
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".go" && filepath.Ext(path) != ".lua" {
			return err
		}
		_, err = os.Stat(path)
		return err
	})
}
