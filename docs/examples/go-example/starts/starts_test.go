package starts

import (
	"flag"
	"os"
	"testing"
)

// Tests can be listed, but not run.
func TestMain(m *testing.M) {
	flag.Parse()
	if flag.Lookup("test.list").Value.String() == "" {
		panic("the database is not there")
	}
	os.Exit(m.Run())
}

func TestNeedsDatabase(t *testing.T) {}

func TestNeedsDatabaseToo(t *testing.T) {}
