test 5 -lt 9
