// Checks proofs and checkpoints of the audit log with Go's own transparency-log code, which shares nothing with ours.
//
// Reads one JSON document on standard input and prints, for each claim in it, "ok" or why it does not hold.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

type inclusion struct {
	Index int64    `json:"index"`
	Size  int64    `json:"size"`
	Leaf  string   `json:"leaf"`
	Root  string   `json:"root"`
	Path  []string `json:"path"`
}

type consistency struct {
	Old     int64    `json:"old"`
	OldRoot string   `json:"old_root"`
	Size    int64    `json:"size"`
	Root    string   `json:"root"`
	Path    []string `json:"path"`
}

type claims struct {
	Key         string        `json:"key"`
	Note        string        `json:"note"`
	Inclusion   []inclusion   `json:"inclusion"`
	Consistency []consistency `json:"consistency"`
}

func hash(text string) tlog.Hash {
	found, err := tlog.ParseHash(text)
	if err != nil {
		panic(err)
	}
	return found
}

func hashes(texts []string) []tlog.Hash {
	found := make([]tlog.Hash, len(texts))
	for i, text := range texts {
		found[i] = hash(text)
	}
	return found
}

func told(err error) string {
	if err != nil {
		return err.Error()
	}
	return "ok"
}

func checkNote(given claims) error {
	verifier, err := note.NewVerifier(given.Key)
	if err != nil {
		return err
	}
	opened, err := note.Open([]byte(given.Note), note.VerifierList(verifier))
	if err != nil {
		return err
	}
	if len(opened.Sigs) != 1 {
		return fmt.Errorf("%d signatures of the key", len(opened.Sigs))
	}
	return nil
}

func main() {
	var given claims
	if err := json.NewDecoder(bufio.NewReader(os.Stdin)).Decode(&given); err != nil {
		panic(err)
	}
	fmt.Println(told(checkNote(given)))
	for _, one := range given.Inclusion {
		fmt.Println(told(tlog.CheckRecord(hashes(one.Path), one.Size, hash(one.Root), one.Index, hash(one.Leaf))))
	}
	for _, one := range given.Consistency {
		fmt.Println(told(tlog.CheckTree(hashes(one.Path), one.Size, hash(one.Root), one.Old, hash(one.OldRoot))))
	}
}
