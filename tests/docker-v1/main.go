// SPDX-License-Identifier: Apache-2.0

// Makes the image config of a schema 1 manifest as Docker's pullSchema1 does, with Docker's own
// package image/v1. The first argument is the manifest's payload, the others are the diff IDs of
// its layers, base first. The checks of the manifest are not repeated here.
package main

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/docker/docker/image"
	v1 "github.com/docker/docker/image/v1"
	"github.com/docker/docker/layer"
)

type manifest struct {
	History []struct {
		V1Compatibility string `json:"v1Compatibility"`
	} `json:"history"`
}

func main() {
	config, err := convert(os.Args[1], os.Args[2:])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Stdout.Write(config)
}

func convert(file string, diffIDs []string) ([]byte, error) {
	bytes, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var m manifest
	if err := json.Unmarshal(bytes, &m); err != nil {
		return nil, err
	}

	// As in fixManifestLayers: of adjacent entries with the same ID the last one stays.
	entries := m.History
	for i := len(entries) - 2; i >= 0; i-- {
		var this, below image.V1Image
		if err := json.Unmarshal([]byte(entries[i].V1Compatibility), &this); err != nil {
			return nil, err
		}
		if err := json.Unmarshal([]byte(entries[i+1].V1Compatibility), &below); err != nil {
			return nil, err
		}
		if this.ID == below.ID {
			entries = append(entries[:i], entries[i+1:]...)
		}
	}

	rootFS := image.NewRootFS()
	for _, diffID := range diffIDs {
		rootFS.Append(layer.DiffID(diffID))
	}
	var history []image.History
	for i := len(entries) - 1; i >= 0; i-- {
		var throwAway struct {
			ThrowAway bool `json:"throwaway,omitempty"`
		}
		if err := json.Unmarshal([]byte(entries[i].V1Compatibility), &throwAway); err != nil {
			return nil, err
		}
		h, err := v1.HistoryFromConfig([]byte(entries[i].V1Compatibility), throwAway.ThrowAway)
		if err != nil {
			return nil, err
		}
		history = append(history, h)
	}
	return v1.MakeConfigFromV1Config([]byte(entries[0].V1Compatibility), rootFS, history)
}
