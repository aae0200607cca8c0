package unit_test

import (
	"fmt"

	"github.com/ihc-pipeline/ihc/internal/unit"
)

// Doubles that are added up depend on their order. Integers do not, and so the
// report is the same to the bit however its rows were read.
func ExampleSum() {
	var forward, backward float64
	var exact unit.Sum
	prices := []float64{0.1, 0.2, 0.3}
	for i := range prices {
		forward += prices[i]
		backward += prices[len(prices)-1-i]
		money, _ := unit.MoneyOf(prices[i])
		exact.Add(int64(money))
	}
	fmt.Println("doubles:", forward, "and", backward)
	fmt.Println("exactly:", exact.Decimal(unit.MoneyDecimals))

	// What a share of 0.4161 of an order of 59.90 is worth.
	share, _ := unit.ShareOf(0.4161)
	revenue, _ := unit.MoneyOf(59.90)
	var credit unit.Sum
	credit.AddProduct(int64(share), int64(revenue))
	fmt.Println("credit:", credit.Decimal(unit.ShareDecimals+unit.MoneyDecimals))
	// Output:
	// doubles: 0.6000000000000001 and 0.6
	// exactly: 0.6
	// credit: 24.92439
}
