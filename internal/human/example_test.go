package human_test

import (
	"fmt"

	"github.com/ihc-pipeline/ihc/internal/human"
)

// Width is that of a terminal: some characters take two cells.
func ExampleCut() {
	for _, channel := range []string{"Email", "Social Media Retargeting", "検索連動型広告"} {
		fmt.Printf("[%s]\n", human.Pad(human.Cut(channel, 12), 12))
	}
	// Output:
	// [Email       ]
	// [Social…eting]
	// [検索連…広告 ]
}

func ExampleThousands() {
	fmt.Println(human.Thousands(5047038), human.Thousands(-1234), human.Thousands(999))
	fmt.Println(human.Count(1, "journey"), "and", human.Count(3000, "session"))
	// Output:
	// 5,047,038 -1,234 999
	// 1 journey and 3,000 sessions
}

func ExampleBytes() {
	fmt.Println(human.Bytes(999), human.Bytes(1500), human.Bytes(999_960), human.Bytes(12_345_678), human.Bytes(3e12))
	// Output: 999 B 1.5 kB 1.0 MB 12.3 MB 3.0 TB
}
