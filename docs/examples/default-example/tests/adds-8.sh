test 8 -lt 9
