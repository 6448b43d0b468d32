test 1 -lt 9
