test 2 -lt 9
