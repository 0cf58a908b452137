package outbox

import (
	"encoding/json"
	"os"
	"os/exec"
	"regexp"
	"testing"
)

// TestLibcMatchesSQLite: modernc.org/sqlite is translated against one exact
// version of modernc.org/libc. Another one, lifted by any other dependency,
// compiles and then corrupts.
func TestLibcMatchesSQLite(t *testing.T) {
	module := func(path string) (version, goMod string) {
		t.Helper()
		out, err := exec.Command("go", "list", "-m", "-json", path).Output()
		if err != nil {
			t.Fatalf("go list -m %s: %v", path, err)
		}
		var m struct{ Version, GoMod string }
		if err := json.Unmarshal(out, &m); err != nil {
			t.Fatal(err)
		}
		return m.Version, m.GoMod
	}
	libc, _ := module("modernc.org/libc")
	sqlite, goMod := module("modernc.org/sqlite")
	b, err := os.ReadFile(goMod)
	if err != nil {
		t.Fatal(err)
	}
	want := regexp.MustCompile(`(?m)^\s*(?:require\s+)?modernc\.org/libc\s+(v\S+)`).FindSubmatch(b)
	if want == nil {
		t.Fatalf("modernc.org/sqlite %s requires no modernc.org/libc in %s", sqlite, goMod)
	}
	if libc != string(want[1]) {
		t.Errorf("the build has modernc.org/libc %s, modernc.org/sqlite %s requires %s: pin it in go.mod", libc, sqlite, want[1])
	}
}
