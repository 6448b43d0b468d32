test 6 -lt 9
