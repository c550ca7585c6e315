package main

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/evanw/esbuild/pkg/api"
)

// foreignAdvice is an address in an error text of graphql-js. The page names no site of
// a package manager.
const foreignAdvice = "https://yarnpkg.com/en/docs/selective-version-resolutions"

// bundle returns the files of the page by their names.
func bundle(console, modules string) (map[string][]byte, error) {
	page, err := filepath.Abs(filepath.Join(console, "page"))
	if err != nil {
		return nil, err
	}
	result := api.Build(api.BuildOptions{
		EntryPoints:   []string{filepath.Join(page, "page.jsx")},
		Outdir:        page, // nothing is written; names count from there
		AbsWorkingDir: page,
		NodePaths:     []string{modules},
		Bundle:        true,
		Format:        api.FormatIIFE,
		Platform:      api.PlatformBrowser,
		Target:        api.ES2022,
		JSX:           api.JSXAutomatic,
		Charset:       api.CharsetUTF8,
		LegalComments: api.LegalCommentsEndOfFile,
		Define: map[string]string{
			"process.env.NODE_ENV": `"production"`, "globalThis.process.env.NODE_ENV": `"production"`, "globalThis.process": "true",
		},
		Loader: map[string]api.Loader{".woff2": api.LoaderDataURL, ".svg": api.LoaderDataURL},

		MinifyWhitespace: true, MinifyIdentifiers: true, MinifySyntax: true,
	})
	if len(result.Errors) > 0 {
		return nil, errors.New(strings.Join(api.FormatMessages(result.Errors, api.FormatMessagesOptions{}), "\n"))
	}
	files := make(map[string][]byte)
	for _, f := range result.OutputFiles {
		files[filepath.Base(f.Path)] = bytes.ReplaceAll(f.Contents, []byte(foreignAdvice), []byte("the manual of your package manager"))
	}
	if files["index.html"], err = os.ReadFile(filepath.Join(page, "index.html")); err != nil {
		return nil, err
	}
	return files, nil
}

// store writes the files into the folder that is embedded, and nothing else is left
// there.
func store(console string, files map[string][]byte) error {
	built := filepath.Join(console, "built")
	if err := os.RemoveAll(built); err != nil {
		return err
	}
	if err := os.Mkdir(built, 0o755); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := os.WriteFile(filepath.Join(built, name), files[name], 0o644); err != nil {
			return fmt.Errorf("write the bundle: %w", err)
		}
	}
	return nil
}
