package supervisor_test
import ("testing"; "github.com/shmactor/shmactor/supervisor"; "github.com/shmactor/shmactor/internal/testkit")
func TestMain(m *testing.M) { supervisor.Main(); testkit.Run(m, nil) }
