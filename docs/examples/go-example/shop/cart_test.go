package shop

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestTotal(t *testing.T) {
	t.Log("adding up")
	if got := Total(100, 250); got != 350 {
		t.Errorf("got %d, want 350", got)
	}
}

// The same name stands in package faults.
func TestShared(t *testing.T) {}

func TestWrong(t *testing.T) {
	if got := Total(1, 2); got != 4 {
		t.Errorf("got %d, want 4", got)
	}
}

func TestLabels(t *testing.T) {
	for name, price := range map[string]int{"one cent": 1, `it's "quoted"`: 100, "a (wrong) [one]/with a slash": 50, "日本": 12345} {
		price := price
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if label := Label(price); !strings.Contains(label, ".") {
				t.Errorf("label %q", label)
			}
		})
	}
}

func TestÜnicode(t *testing.T) {}

func TestSkipped(t *testing.T) {
	t.Skip("no till here")
}

// Fails once in each directory that FLAKY_DIRECTORY names.
func TestFlaky(t *testing.T) {
	directory := os.Getenv("FLAKY_DIRECTORY")
	if directory == "" {
		t.Skip("FLAKY_DIRECTORY is not set")
	}
	mark := filepath.Join(directory, "was-here")
	if _, err := os.Stat(mark); err != nil {
		os.WriteFile(mark, nil, 0o644)
		t.Fatal("the first time it fails")
	}
}

func TestSlow(t *testing.T) {
	time.Sleep(300 * time.Millisecond)
}

func BenchmarkTotal(b *testing.B) {
	for i := 0; i < b.N; i++ {
		Total(1, 2, 3)
	}
}

func FuzzLabel(f *testing.F) {
	f.Add(1)
	f.Add(199)
	f.Fuzz(func(t *testing.T, price int) {
		if !strings.Contains(Label(price), ".") {
			t.Error("no point")
		}
	})
}
