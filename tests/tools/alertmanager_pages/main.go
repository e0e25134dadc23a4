// Writes the pages that are in Alertmanager's module into a folder: Debian's Alertmanager has none.
package main

import (
	"io"
	"log"
	"os"
	"path"

	"github.com/prometheus/alertmanager/asset"
)

func main() {
	if err := write("/static", os.Args[1]); err != nil {
		log.Fatal(err)
	}
}

func write(from, to string) error {
	opened, err := asset.Assets.Open(from)
	if err != nil {
		return err
	}
	defer opened.Close()
	about, err := opened.Stat()
	if err != nil {
		return err
	}
	if !about.IsDir() {
		content, err := io.ReadAll(opened)
		if err != nil {
			return err
		}
		return os.WriteFile(to, content, 0o644)
	}
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	entries, err := opened.Readdir(-1)
	for _, entry := range entries {
		if err := write(path.Join(from, entry.Name()), path.Join(to, entry.Name())); err != nil {
			return err
		}
	}
	return err
}
