package open_test

import (
	"context"
	"fmt"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/store/open"
)

// A password is for the server alone.
func ExampleShown() {
	fmt.Println(open.Shown("postgres://ihc:secret@db.example/shop?sslmode=verify-full"))
	fmt.Println(open.Shown("shop.db"))
	// Output:
	// postgres://ihc@db.example/shop?sslmode=verify-full
	// shop.db
}

// Nothing is opened before it is asked for: a service may start before there is
// a database, and says what it lacks.
func ExampleDatabase() {
	db := open.Database("nowhere.db")
	err := db.Check(context.Background())
	fmt.Println(errkind.KindOf(err), err)
	fmt.Println(db.Close())
	// Output:
	// environment no database at "nowhere.db": no such file
	// <nil>
}
