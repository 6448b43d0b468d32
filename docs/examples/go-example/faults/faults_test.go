package faults

import (
	"fmt"
	"log"
	"os"
	"syscall"
	"testing"
	"time"
)

func TestShared(t *testing.T) {
	t.Error("not the one of package shop")
}

func TestParallelFirst(t *testing.T) {
	t.Parallel()
}

func TestParallelSecond(t *testing.T) {
	t.Parallel()
}

func TestPanics(t *testing.T) {
	t.Run("on a nil map", func(t *testing.T) {
		var prices map[string]int
		prices["bread"] = 1
	})
}

func TestPanicsInGoroutine(t *testing.T) {
	go func() { panic("nobody recovers this") }()
	select {}
}

func TestExits(t *testing.T) {
	fmt.Println("going")
	os.Exit(3)
}

func TestExitsQuietly(t *testing.T) {
	os.Exit(0)
}

func TestLogFatal(t *testing.T) {
	log.Fatal("cannot go on")
}

func TestDeadlock(t *testing.T) {
	<-make(chan int)
}

func TestKilled(t *testing.T) {
	syscall.Kill(os.Getpid(), syscall.SIGKILL)
	time.Sleep(time.Hour)
}

// Left out by the filters: `offload run -c hangs.toml` ends it by its time limit.
func TestHangs(t *testing.T) {
	time.Sleep(time.Hour)
}

func TestNeighbour(t *testing.T) {}
