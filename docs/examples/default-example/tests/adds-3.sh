test 3 -lt 9
