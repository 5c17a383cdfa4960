"""What a breeder decides by: functions of joint draws of all lines, reached as methods of `bmtme.results.fit.Fit`."""
