package main

func Example_main() {
	main()
	// Unordered output:
	// sensor 0 has 1 reading
	// sensor 1 has 1 reading
	// sensor 2 has 1 reading
}
