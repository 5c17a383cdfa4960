from validation.referees import gryphon as gryphon
from validation.referees import nuts as nuts
from validation.referees import toys as toys
from validation.referees import wheat599 as wheat599
