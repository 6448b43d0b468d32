package ends

import (
	"fmt"
	"os"
	"testing"
)

var opened int

// Looks after the tests whether something was left open.
func TestMain(m *testing.M) {
	code := m.Run()
	if opened > 0 {
		fmt.Println(opened, "files are still open")
		code = 1
	}
	os.Exit(code)
}

func TestLeavesFileOpen(t *testing.T) {
	opened++
}
