package supervisor_test

import (
	"os"
	"testing"

	"github.com/shmactor/shmactor/internal/testkit"
	"github.com/shmactor/shmactor/supervisor"
)

// noMainEnv makes a process one whose main does not call supervisor.Main.
const noMainEnv = "SHMACTOR_TEST_NO_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(noMainEnv) == "" {
		supervisor.Main()
	}
	testkit.Run(m, map[string]func(){
		"owner":   playOwner,
		"guest":   playGuest,
		"no-main": playNoMain,
		"durable": playDurable,
		"hardy":   playHardy,
	})
}
