//go:build wasip1

// Wordcount is a job: it counts the words of its arguments, or of its standard
// input, and prints how many there are and the ten most frequent.
package main

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"unicode"
)

func main() {
	var in io.Reader = os.Stdin
	if len(os.Args) > 1 {
		in = strings.NewReader(strings.Join(os.Args[1:], " "))
	}
	counts, total, err := count(in)
	if err != nil {
		fmt.Fprintln(os.Stderr, "the text cannot be read:", err)
		os.Exit(1)
	}
	fmt.Printf("%d words, %d different\n", total, len(counts))
	for _, w := range top(counts, 10) {
		fmt.Printf("%7d %s\n", counts[w], w)
	}
}

// count reads words: runs of letters and digits, in lower case.
func count(in io.Reader) (counts map[string]int, total int, err error) {
	counts = map[string]int{}
	r := bufio.NewReader(in)
	var word strings.Builder
	end := func() {
		if word.Len() > 0 {
			counts[word.String()]++
			total++
			word.Reset()
		}
	}
	for {
		c, _, err := r.ReadRune()
		if err == io.EOF {
			end()
			return counts, total, nil
		}
		if err != nil {
			return nil, 0, err
		}
		if unicode.IsLetter(c) || unicode.IsDigit(c) {
			word.WriteRune(unicode.ToLower(c))
		} else {
			end()
		}
	}
}

// top returns the n most frequent words, equally frequent ones by name.
func top(counts map[string]int, n int) []string {
	words := slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(counts[b]-counts[a], strings.Compare(a, b))
	})
	return words[:min(n, len(words))]
}
