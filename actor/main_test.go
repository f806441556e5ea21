package actor_test

import (
	"testing"

	"github.com/shmactor/shmactor/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Run(m, nil) }
