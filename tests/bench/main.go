package main

import (
	"context"
	"fmt"
	"os"
	"strconv"

	"github.com/ihc-pipeline/ihc/internal/shop"
)

func main() {
	ctx := context.Background()
	var err error
	switch os.Args[1] {
	case "floor":
		err = floor(ctx, os.Args[2])
	case "shop":
		n := func(i int) int { v, _ := strconv.Atoi(os.Args[i]); return v }
		var s shop.Stats
		s, err = shop.Generate(ctx, os.Args[2], shop.Config{Sessions: n(3), Touchpoints: n(4), MaxJourney: n(5), Replace: true})
		fmt.Printf("%+v\n", s)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
